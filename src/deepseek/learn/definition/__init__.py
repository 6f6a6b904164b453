"""What there is to learn: labs as folders, which of them there are, and the skills that they prove."""
