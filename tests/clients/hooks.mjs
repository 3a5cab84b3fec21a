// Maps imports of these package names to the module that the test chooses.
let targets;

export async function initialize(urls) {
  targets = urls;
}

export async function resolve(specifier, context, next) {
  const url = targets[specifier];
  return url ? { url, shortCircuit: true } : next(specifier, context);
}
