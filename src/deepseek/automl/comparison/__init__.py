"""Models on the same rows: paired differences with intervals, where they disagree, which trial of a search is ahead."""
