"""Text of any size: choose it, decode it, load it for a run, show it by rows, search it, find where a text came from.

The way in, by what you want:

- *what did the person mean by `--docs`?* `select.select(arguments)` gives files, their names and notices;
- *the whole text, for the engine*: `load.load(path)` and `load.load_all(selection.files)`;
- *rows, for a screen*: `textfile.TextFile.open(path)`, then `index.LineIndex(text)`, whose `build` runs in a worker
  thread while `rows`, `row` and `row_at` already answer for what is indexed;
- *search*: `search.search(index, Query("needle"))` in a worker, hits come as they are found;
- *where in the documents does this text stand?* `locate.Locator(texts)`, and `coverage.Coverage` for what was
  seen so far;
- *PDF, Word, HTML, e-mail, notebooks, archives*: `load` takes their text out (`formats`, `archive`), and
  `extraction.open_extracted` gives it to a screen as a `TextFile`;
- *the guide and the themes that ship with the package*: `bundled`.

Everything here is plain threads and generators: long work takes `progress(done, of)` and `cancelled()`
(see `fleet_rlm.documents.document_work`) and can be run from any kind of worker. Every failure is a `DocumentError`.
"""
