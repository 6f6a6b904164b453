"""Values in a sentence: dates, amounts, numbers, order numbers, choices, in English and Chinese."""
