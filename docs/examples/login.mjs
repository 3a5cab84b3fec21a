/** Keeps a client of @stomp/stompjs logged in; calls ended(id, destination) if a new token forbids a subscription. */
export function stayLoggedIn(client, getToken, ended) {
  const { onConnect } = client;
  client.beforeConnect = async () => {
    client.connectHeaders = { Authorization: `Bearer ${await getToken()}` };
  };
  const refresh = async () => {
    const body = await getToken();
    if (client.connected) client.publish({ destination: "/airyd/token", body });
  };
  client.onConnect = (frame) => {
    onConnect(frame);
    client.subscribe("/airyd/status", (message) => {
      const { type, within, id, destination } = JSON.parse(message.body);
      if (type === "token") setTimeout(refresh, within * 500); // when half of the seconds are over
      if (type === "subscription") ended(id, destination);
    }, { id: "login" });
  };
}
