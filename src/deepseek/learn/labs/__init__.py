"""The labs of this package, a folder each. Only grading/ runs what they hold."""
