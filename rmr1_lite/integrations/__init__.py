"""Takes a judge out of the kit: exported files, other people's servers. Nothing of theirs is imported,
their programs are run."""
