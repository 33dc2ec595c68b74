"""Where a Service's traffic may go: EndpointSlices (`slices`) and the older Endpoints (`legacy`)."""
