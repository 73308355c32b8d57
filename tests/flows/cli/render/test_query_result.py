"""Results of queries; what each form looks like is in ``tests/flows/cli/test_sql.py``."""

import duckdb

from flows.cli.render.query_result import stream


def test_many_rows_keep_their_order():
    with duckdb.connect() as con:
        con.execute("SELECT range AS i, range AS i FROM range(20)")
        names, rows = stream(con, batch_rows=7)
        assert (names, list(rows)) == (["i", "i_1"], [(i, i) for i in range(20)])
