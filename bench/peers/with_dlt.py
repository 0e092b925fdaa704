"""dlt's REST source with merge, 100 a page. Phones stay JSON, as with us: the quicker way."""

from __future__ import annotations

import os
import tempfile

# No telemetry, and no files in anybody's home folder.
os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"

import dlt
from dlt.sources.rest_api import RESTAPIConfig, rest_api_source
from sqlalchemy import create_engine, make_url, text

from bench.peers.peer import HEADERS, run


def copy(url: str, key: str, database: str) -> int:
    """Extract, normalize and load the active patients."""
    address = make_url(database)
    if address.drivername != "sqlite":
        # dlt asks for a host's name even where the driver goes by the socket in the query.
        address = address.set(drivername="postgresql+psycopg2", host=address.host or "localhost")
    engine = create_engine(address)
    config: RESTAPIConfig = {
        "client": {
            "base_url": url,
            "headers": HEADERS,
            "auth": {"type": "http_basic", "username": key, "password": ""},
            "paginator": {"type": "json_link", "next_url_path": "links.next"},
        },
        "resources": [
            {
                "name": "patients",
                "primary_key": "id",
                "write_disposition": "merge",
                "max_table_nesting": 0,
                "endpoint": {
                    "path": "patients",
                    "params": {"per_page": 100},
                    "data_selector": "patients",
                },
            }
        ],
    }
    with tempfile.TemporaryDirectory(prefix="dlt-") as folder:
        pipeline = dlt.pipeline(
            pipeline_name="bench",
            pipelines_dir=folder,
            # Without a primary key in the tables a second merge compares everybody with everybody.
            destination=dlt.destinations.sqlalchemy(engine, create_primary_keys=True),
            dataset_name="main" if engine.dialect.name == "sqlite" else "clinic",
        )
        pipeline.run(rest_api_source(config)).raise_on_failed_jobs()
    schema = "main" if engine.dialect.name == "sqlite" else "clinic"
    with engine.connect() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {schema}.patients")).scalar_one())


if __name__ == "__main__":
    run(copy)
