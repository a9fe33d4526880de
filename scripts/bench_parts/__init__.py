"""The parts of scripts/bench: data sets, filesystems compared, measured loops, report."""
