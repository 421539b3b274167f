"""Shows the record of changes: who did what, when, from where, and how it was answered (AUTH=on).

docker compose exec mlflow audit --since 7d --who alice
"""

import argparse
import json
import re
import sys
from contextlib import closing

import psycopg2

from replica_server import database
from replica_server.settings import current
from replica_server.text import one_line, printable

UNITS = {"m": "mins", "h": "hours", "d": "days"}
FIELDS = ("time", "who", "by", "address", "change", "object", "status")
ROWS = """
SELECT to_char(time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), person, by, address, action, object, status
FROM people.record
WHERE time >= now() - make_interval({unit} => %s) AND (%s = '' OR person = %s) AND (%s = '' OR action = %s)
ORDER BY id
"""


def since(text: str) -> tuple[int, str]:
    """Returns a number and PostgreSQL's unit for `7d`, `12h` or `30m`."""
    found = re.fullmatch(r"([1-9][0-9]{0,5})([mhd])", text)
    if not found:
        raise argparse.ArgumentTypeError(f'"{text}" is no time: 7d, 12h and 30m are')
    return int(found[1]), UNITS[found[2]]


def main() -> None:
    """Prints the rows, the oldest first; exits with status 1 and one line when there is no record."""
    parser = argparse.ArgumentParser(prog="audit", description="who changed what")
    parser.add_argument("--since", type=since, default=(7, "days"), metavar="TIME", help="7d (the default), 12h, 30m")
    parser.add_argument("--who", default="", metavar="NAME", help="only this person's changes")
    parser.add_argument("--change", default="", metavar="CHANGE", help="only these changes, such as set-alias")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    options = parser.parse_args()
    count, unit = options.since
    database.open_password_file(current().password_file)
    try:
        with closing(database.connect(wait=5)) as connection, connection.cursor() as cursor:
            values = (count, options.who, options.who, options.change, options.change)
            cursor.execute(ROWS.format(unit=unit), values)
            for row in cursor:
                if options.json:
                    print(json.dumps(dict(zip(FIELDS, row, strict=True))))
                else:
                    print(*(printable(str(value)) or "-" for value in row))
    except psycopg2.errors.UndefinedTable:
        sys.exit("audit: error: there is no record: AUTH has never been on")
    except psycopg2.Error as error:
        sys.exit(f"audit: error: {one_line(str(error))}")
    except BrokenPipeError:
        sys.exit(1)
