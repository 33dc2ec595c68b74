"""ValidatingAdmissionPolicy: rules about writes, in expressions that the server evaluates itself."""
