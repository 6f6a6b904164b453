"""What the reader of a guide has before its first block of code: files, tables, modules, a server."""
