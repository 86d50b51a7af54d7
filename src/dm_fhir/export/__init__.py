"""The case series as files for other programs: tables, a workbook, Parquet, one document."""
