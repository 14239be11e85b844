"""Work on files, for the command line, the page and schedulers: what is to be done as plain data, and who does it."""
