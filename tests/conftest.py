"""What all tests share."""

from samgeo.models import keep_freed_memory

# As the command line does: models on a processor are faster for it.
keep_freed_memory()
