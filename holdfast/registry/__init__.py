"""MLflow and the ledger: lineage, versions, promotion."""
