"""The kill matrix: processes are hurt while jobs run, and a checker reads what everybody did."""
