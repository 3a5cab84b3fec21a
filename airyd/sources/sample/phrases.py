"""What the people of the sample feed say; ``{order}`` and ``{name}`` are filled in."""

from __future__ import annotations

from typing import Final, NamedTuple


class Phrases(NamedTuple):
    """One language's sentences.

    :ivar names: of the people who write
    :ivar questions: what they ask
    :ivar answers: what the company answers
    """

    names: tuple[str, ...]
    questions: tuple[str, ...]
    answers: tuple[str, ...]


LANGUAGES: Final = (
    Phrases(
        ("Emma", "Liam O'Neill", "Grace"),
        (
            "Hi, this is {name}. Where is my order {order}?",
            "The jacket is lovely, but too small. Can I swap it?",
            "Do you open on Sunday?",
            'It says "payment pending" since Tuesday \U0001f615',
            "Thanks a lot! \U0001f64f",
        ),
        (
            "Hello {name}, order {order} is on its way and should be with you tomorrow.",
            "Of course. A label for the return is in your inbox.",
            "We're open from 10 to 6, on Sundays too.",
            "You're welcome \U0001f60a",
        ),
    ),
    Phrases(
        ("Jürgen", "Änne", "Zoë Groß"),
        (
            "Grüß Gott, wo bleibt meine Bestellung {order}?",
            "Können Sie die Rechnung bitte noch einmal schicken?",
            "Passt die Hülle auch für das größere Modell?",
        ),
        (
            "Guten Tag {name}, {order} wurde heute früh verschickt.",
            "Die Rechnung ist unterwegs, schönen Tag noch!",
        ),
    ),
    Phrases(
        ("Lucía", "Íñigo", "Belén Núñez"),
        (
            "¡Hola! ¿Cuándo llega mi pedido {order}?",
            "¿Aceptan devoluciones sin recibo?",
            "El código de descuento no funciona \U0001f62d",
        ),
        (
            "Buenos días, {name}: el pedido {order} llegará mañana.",
            "Acabamos de enviarle un código nuevo.",
        ),
    ),
    Phrases(
        ("Chloé", "François", "Maëlle"),
        (
            "Bonjour, ma commande {order} n'est toujours pas arrivée.",
            "À quelle heure fermez-vous ce soir ?",
        ),
        (
            "Bonjour {name}, le colis {order} est chez le transporteur.",
            "Nous fermons à 19 h. À bientôt !",
        ),
    ),
    Phrases(
        ("Łukasz", "Żaneta"),
        ("Dzień dobry, gdzie jest moje zamówienie {order}?", "Czy mogę zmienić adres dostawy?"),
        ("{name}, paczka {order} dotrze jutro.", "Oczywiście, proszę podać nowy adres."),
    ),
    Phrases(
        ("Jiří", "Žofie"),
        ("Dobrý den, kde je moje objednávka {order}?", "Přišlo to rozbité. Co mám dělat?"),
        ("Dobrý den, {name}, balík {order} dorazí zítra.", "Hned vám pošleme nový kus."),
    ),
    Phrases(
        ("ليلى", "يوسف"),
        ("مرحبا، أين طلبي {order}؟", "هل يمكنني الدفع عند الاستلام؟"),
        ("أهلا {name}، سيصل الطلب {order} غدا.", "نعم، بالتأكيد."),
    ),
    Phrases(
        ("अनन्या", "आरव"),
        ("नमस्ते, मेरा ऑर्डर {order} कहाँ है?", "क्या यह नीले रंग में मिलेगा?"),
        ("{name} जी, आपका ऑर्डर {order} कल पहुँच जाएगा।", "जी हाँ, मिलेगा।"),
    ),
    Phrases(
        ("さくら", "健太"),
        ("注文番号{order}はいつ届きますか。", "サイズを交換したいです。"),
        ("{name}様、{order}は明日お届けします。", "かしこまりました。"),
    ),
    Phrases(
        ("小雨", "王伟"),
        ("你好。我的订单{order}到哪里了", "可以开发票吗"),
        ("{name}您好。订单{order}明天送达。", "可以。请把抬头发给我们。"),
    ),
)
