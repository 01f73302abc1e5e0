"""Judging: the judge, several judges on one base, files of pairs, ranking, and the engines that generate the
texts."""
