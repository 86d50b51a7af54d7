"""One SQLite file per study: every version of every resource, the ledger, cases, outcomes, pushes, runs."""
