#!/bin/sh
# Run once by the PostgreSQL image on an empty volume: a role and a database for each part, none of which sees another's.
set -eu

database() {
  psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres --set name="$1" --set password="$2" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE CONNECT ON DATABASE :"name" FROM PUBLIC;
SQL
}

database prefect "$PREFECT_DATABASE_PASSWORD"
database mlflow "$MLFLOW_DATABASE_PASSWORD"
database holdfast "$HOLDFAST_DATABASE_PASSWORD"
