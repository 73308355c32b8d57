"""One process and its Java machine: Flink SQL over a topic, windows of 1 h every 10 min, mean of six and count.

``PYTHON -m benchmarks.peers.flink_sql SERVERS TOPIC JARS PARALLELISM``, in the environment that
``python -m benchmarks.peers.install`` makes. Event time, watermark one minute behind, results thrown away; with
CHECK=1 they are counted and printed, which takes longer.
"""

import json
import os
import sys
import time
from pathlib import Path

from pyflink.table import EnvironmentSettings, TableEnvironment

from benchmarks.peers.jvm import processes

PARAMETERS = ("pm10", "pm25", "o3", "no2", "co", "so2")


def main() -> None:
    """Run the job to the topic's end."""
    servers, topic, jars, parallelism = sys.argv[1:]
    table = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    settings = {
        "pipeline.jars": ";".join(path.as_uri() for path in sorted(Path(jars).glob("*.jar"))),
        "parallelism.default": parallelism,
        "taskmanager.memory.managed.size": "512m",
    }
    for name, value in settings.items():
        table.get_config().set(name, value)
    columns = ", ".join(f"{name} DOUBLE" for name in PARAMETERS)
    table.execute_sql(
        f"""CREATE TABLE readings (station_id STRING, observed_at STRING, {columns},
            ts AS TO_TIMESTAMP(SUBSTRING(observed_at, 1, 19), 'yyyy-MM-dd''T''HH:mm:ss'),
            WATERMARK FOR ts AS ts - INTERVAL '1' MINUTE)
        WITH ('connector' = 'kafka', 'topic' = '{topic}', 'properties.bootstrap.servers' = '{servers}',
            'properties.group.id' = 'peer', 'scan.startup.mode' = 'earliest-offset',
            'scan.bounded.mode' = 'latest-offset', 'format' = 'json')"""
    )
    means = ", ".join(f"AVG({name}) AS {name}" for name in PARAMETERS)
    query = f"""SELECT station_id, window_start, COUNT(*) AS n, {means}
        FROM HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' MINUTES, INTERVAL '1' HOUR)
        GROUP BY station_id, window_start, window_end"""
    said: dict[str, float] = {}
    began = time.perf_counter()
    if os.environ.get("CHECK"):
        with table.execute_sql(f"SELECT COUNT(*), SUM(n) FROM ({query})").collect() as rows:
            for row in rows:
                said = {"results": row[0], "readings": row[1]}
    else:
        table.execute_sql(
            f"""CREATE TABLE nowhere (station_id STRING, window_start TIMESTAMP(3), n BIGINT, {columns})
            WITH ('connector' = 'blackhole')"""
        )
        table.execute_sql(f"INSERT INTO nowhere {query}").wait()
    said["seconds"] = time.perf_counter() - began
    print(json.dumps(said | processes()))


if __name__ == "__main__":
    main()
