"""A document against a checklist: each line holds, is broken or is not there, with the clause word for word.

    model = ReviewModel.fit(checklist, labelled, embedder)      # lines.py, labels.py, model.py
    report = review_document(model, read_document(path))        # findings.py: findings, reading list
    write_page(Path("findings.html"), report)                   # page.py

lines.py reads the checklist, labels.py what documents say of it, passages.py cuts clauses into what is judged,
views.py scores them, model.py decides and calibrates, retrieval.py answers lines that nobody trained, storage.py keeps
all of it in a bundle, versions.py compares two versions, decisions.py records who decided what.
"""
