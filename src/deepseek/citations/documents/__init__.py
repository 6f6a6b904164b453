"""Documents as clauses: text, HTML, Word and PDF files, each clause word for word with its number, heading and place.

    document = read_document(Path("contract.pdf"))
    document.clauses[7].number, document.clauses[7].page       # "3.2(a)", 2
    resolve_references(document)                               # "Section 9" -> the clause that it names

A reader (plain.py, html.py, word.py, pdf.py) gives paragraphs; clauses.py numbers them; references.py says which clause
another one names and where a term is defined. A file that cannot be read is refused with what to do about it.
"""

from __future__ import annotations

from deepseek.citations.documents.document import Clause, Document
from deepseek.citations.documents.reading import read_document, read_documents
from deepseek.citations.documents.references import Definition, Reference, find_definitions, resolve_references

__all__ = [
    "Clause",
    "Definition",
    "Document",
    "Reference",
    "find_definitions",
    "read_document",
    "read_documents",
    "resolve_references",
]
