"""What commands print, drawn: values, results of queries, strips of color, lights; and lights as a picture."""
