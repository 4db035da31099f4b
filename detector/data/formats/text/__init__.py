"""Label files of lines of text, one file a page."""
