-- A role and a database for the forecast log and for MLflow, neither may read the other's.
-- Run on the first start; running it again gives the roles the passwords that stand in /secrets now:
--   docker compose exec db psql -U postgres -f /docker-entrypoint-initdb.d/roles.sql
\set ON_ERROR_STOP on
\set stock_password `cat "${SECRETS_DIR:-/secrets}/stock"`
\set mlflow_password `cat "${SECRETS_DIR:-/secrets}/mlflow"`

SELECT format('CREATE ROLE %I LOGIN', name)
FROM (VALUES ('stock'), ('mlflow')) AS wanted (name)
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec

ALTER ROLE stock PASSWORD :'stock_password';
ALTER ROLE mlflow PASSWORD :'mlflow_password';

SELECT format('CREATE DATABASE %I OWNER %I', name, owner)
FROM (VALUES ('forecasts', 'stock'), ('mlflow', 'mlflow')) AS wanted (name, owner)
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = name) \gexec

REVOKE CONNECT ON DATABASE forecasts, mlflow FROM PUBLIC;
