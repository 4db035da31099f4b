"""XML and HTML of documents with their words: ALTO, PAGE and hOCR."""
