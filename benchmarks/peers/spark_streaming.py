"""One process and its Java machine: Spark Structured Streaming over a topic, windows of 1 h every 10 min.

``PYTHON -m benchmarks.peers.spark_streaming SERVERS TOPIC JARS CORES``, in the environment that
``python -m benchmarks.peers.install`` makes. Mean of six and count, watermark one minute behind, two shuffle partitions
(with the default of 200 it takes ten times as long), all that there is in micro-batches, results thrown away.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql import functions as f

from benchmarks.peers.jvm import processes

PARAMETERS = ("pm10", "pm25", "o3", "no2", "co", "so2")
BATCH = 500_000


def main() -> None:
    """Run the query to the topic's end."""
    servers, topic, jars, cores = sys.argv[1:]
    spark = (
        SparkSession.builder.master(f"local[{cores}]")
        .config("spark.jars", ",".join(str(path) for path in sorted(Path(jars).glob("*.jar"))))
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.memory", "2g")
        .config("spark.sql.session.timeZone", "UTC")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    topics = spark.readStream.format("kafka").option("kafka.bootstrap.servers", servers).option("subscribe", topic)
    messages = topics.option("startingOffsets", "earliest").option("maxOffsetsPerTrigger", BATCH).load()
    fields = "station_id STRING, observed_at TIMESTAMP, " + ", ".join(f"{name} DOUBLE" for name in PARAMETERS)
    readings = messages.select(f.from_json(f.col("value").cast("string"), fields).alias("r")).select("r.*")
    windows = (
        readings.withWatermark("observed_at", "1 minute")
        .groupBy("station_id", f.window("observed_at", "1 hour", "10 minutes"))
        .agg(f.count("*").alias("n"), *(f.avg(name).alias(name) for name in PARAMETERS))
    )
    with tempfile.TemporaryDirectory() as place:
        began = time.perf_counter()
        query: Any = (
            windows.writeStream.outputMode("append")
            .format("noop")
            .option("checkpointLocation", place)
            .trigger(availableNow=True)
            .start()
        )
        query.awaitTermination()
        seconds = time.perf_counter() - began
        taken = sum(batch.numInputRows for batch in query.recentProgress)
    print(json.dumps({"seconds": seconds, "readings_in": taken} | processes()))
    spark.stop()


if __name__ == "__main__":
    main()
