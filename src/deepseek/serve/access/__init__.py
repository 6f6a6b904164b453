"""From where a request may come: the names by which a server is asked, and the web pages that may ask it."""
