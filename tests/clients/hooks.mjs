// Lets a program that says `import … from "@stomp/stompjs"` get the version that the test is about.
let target;

export async function initialize(url) {
  target = url;
}

export async function resolve(specifier, context, next) {
  return specifier === "@stomp/stompjs" ? { url: target, shortCircuit: true } : next(specifier, context);
}
