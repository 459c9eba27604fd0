"""The hub's own SFTP server: vendors put the packages of one source down there, and can do nothing else."""
