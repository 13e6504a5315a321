"""Write Airflow's password file from the environment, readable by its owner alone."""

import json
import os
from pathlib import Path

from nightloop.stack.secrets import ADMIN, write_private


def main() -> None:
    path = Path(os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
    write_private(path, json.dumps({ADMIN: os.environ["AIRFLOW_ADMIN_PASSWORD"]}))


if __name__ == "__main__":
    main()
