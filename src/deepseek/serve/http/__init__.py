"""HTTP/1.1: connections, bytes to requests, several front ends on one port."""
