"""The `load` task: URLs in, pages out, on libcurl. Importing this package imports no pycurl; `load.task` does."""
