#!/usr/bin/env bash
# PostgreSQL runs this once, when its volume is new: one database per owner of tables.
set -euo pipefail
for database in mlflow nightloop; do
    psql --username "$POSTGRES_USER" --dbname postgres --set ON_ERROR_STOP=1 --command "CREATE DATABASE $database"
done
