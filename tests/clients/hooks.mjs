// Lets a program that imports a package by one of these names get the module that the test is about.
let targets;

export async function initialize(urls) {
  targets = urls;
}

export async function resolve(specifier, context, next) {
  const url = targets[specifier];
  return url ? { url, shortCircuit: true } : next(specifier, context);
}
