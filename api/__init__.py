"""Where it all meets the world: web application, pages, worker, command line."""
