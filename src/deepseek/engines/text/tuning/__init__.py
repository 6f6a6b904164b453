"""In which precision a text model runs: measured, behind the gate that the user set."""
