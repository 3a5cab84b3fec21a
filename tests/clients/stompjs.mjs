// The version of @stomp/stompjs that the query of this module's URL names (?version=5, 6 or 7), with named
// exports whether the package is CommonJS (5, 6) or a module (7).
const version = new URL(import.meta.url).searchParams.get("version");
const library = await import(`stompjs${version}`);

export const { Client, Versions } = library.Client ? library : library.default;
