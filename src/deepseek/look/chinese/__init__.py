"""Chinese of sentences that are kept in English alone, for pages that show both languages. Begin with page_texts."""
