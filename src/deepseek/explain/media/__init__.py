"""Files and texts: what each column, token, sentence, region or stretch of sound has added to an answer."""
