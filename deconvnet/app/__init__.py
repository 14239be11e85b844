"""A page in the browser: photographs and bursts are dropped there and restored by the work items of the command line.

`server` binds it to this computer, `page` lays it out, `dropped` is what a visitor has dropped and what can be asked of
it, `worker` is the process that restores, `pace` tells the time that is left. Needs the extra ``app`` (NiceGUI).
"""
