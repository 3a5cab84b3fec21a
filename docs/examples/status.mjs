/** Calls show with "connecting", "catching up" or "live", and reload(destination) if the server missed events. */
export function heed(client, show, reload) {
  const { onConnect } = client;
  show("connecting");
  client.onWebSocketClose = () => show("connecting"); // it connects again by itself
  client.onConnect = (frame) => {
    onConnect(frame); // subscribes, and resumes
    show("catching up");
    client.subscribe("/airyd/status", (message) => {
      const { type, state, destinations } = JSON.parse(message.body);
      if (type === "source") show(state === "up" ? "live" : "catching up"); // the state now, then each change
      if (type === "gap") destinations.forEach(reload); // later events arrive as usual, with none missing
    }, { id: "status" });
  };
}
