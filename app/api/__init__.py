"""HTTP in, HTTP out: routes, request bodies, middleware, OpenAPI."""
