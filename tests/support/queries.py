"""Answers of DuckDB in a form that tests compare."""


def rows(con, query):
    """Rows of a query, each as a dict by column."""
    result = con.execute(query)
    names = [column[0] for column in result.description]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]
