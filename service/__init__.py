"""The recommendation service: a bundle on disk in, ranked items over HTTP out."""
