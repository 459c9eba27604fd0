"""Places that packages of files are pulled from: SFTP servers and what else there is, with one set of rules for all."""
