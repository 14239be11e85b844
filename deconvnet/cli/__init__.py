"""The command line: one file per subcommand, `main` puts them together."""
