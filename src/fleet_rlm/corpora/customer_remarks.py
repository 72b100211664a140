"""Remarks of customers, each of one kind that must be judged from what it says.

A remark is an opening, a core and an ending. Only the core decides its kind; words that would give a kind away stand in
cores of other kinds too ("the delay that I feared never came" praises), so that counting a word counts wrongly.
"""

from __future__ import annotations

from fleet_rlm.corpora.dice import Dice

KINDS: dict[str, str] = {
    "late": "the goods came or come too late",
    "damage": "the goods came broken, wet, soiled or otherwise spoilt",
    "lost": "goods are gone, or some are missing",
    "price": "the writer finds the charge wrong or too high, or wants it explained",
    "change": "the writer wants something about a shipment altered before it arrives",
    "praise": "the writer is content and says so",
}
"""Each kind with its meaning, as a question tells it."""

_CORES: dict[str, tuple[str, ...]] = {
    "late": (
        "we stood at the gate on {day} as agreed, and the lorry showed up two days afterwards",
        "the {goods} should have been here for the feast, which is over by now",
        "three of your promised dates have gone by and my shelves are still bare",
        "what was booked as an overnight trip took from {day} to the week after",
        "my tenants were waiting with the {goods} in mind since {day}, and nobody rang the bell",
        "by the time the {goods} reached us the exhibition had closed its doors",
        "the arrival has been put off again, for the fourth time if I count rightly",
        "the ice had melted in town before the sledges that I ordered in November were unloaded",
        "you said before noon, and it was dark when the driver knocked",
        "the {goods} sat in {place} for nine days although the road was open",
        "the tracking page has shown the same leg since {day}, and I needed the {goods} yesterday",
        "our builders have been drinking tea for a week for want of the {goods}",
        "it is the second season that the seedlings arrive when the ground is frozen",
        "the wedding went ahead without the {goods}, which were still on the road",
        "a snail with a rucksack would have been in {place} before your van",
        "your calendar and mine do not agree: Tuesday came, and the {goods} did not until Saturday",
    ),
    "damage": (
        "when we lifted the lid, the {goods} lay in pieces at the bottom",
        "one corner of the crate was crushed and what was in it is of no use to anyone",
        "the {goods} came punctually and soaked through",
        "there are scratches along the whole front that were not there when I packed it",
        "the smell of diesel will not leave the {goods}, and I cannot sell them like that",
        "somebody must have stood on the parcel, as the print of a boot shows",
        "of forty-eight bottles eleven were whole",
        "the frame is bent and no tool of ours makes it straight again",
        "mould had grown over the {goods} by the time we could open the container",
        "the glass had turned to gravel, in spite of the red labels",
        "the piano reached {place} in time and will never be in tune again",
        "rust has got into the {goods}, since the tarpaulin was torn",
        "the {goods} are dented on three sides, and the driver shrugged",
        "it rattled when it was carried in, and we soon saw why",
        "the seals were whole and the contents were not, so the fault is inside your vehicle",
        "what used to be porcelain can now be poured",
    ),
    "lost": (
        "the paper says seven pieces, six were handed to me",
        "nobody in {place} has seen the {goods} since they were signed in",
        "your depot and your carrier each say that the other has the {goods}",
        "I have an empty box with an unbroken seal, and no idea what became of the {goods}",
        "the last that anyone knows of the {goods} is a signature that none of us can read",
        "half of the pallet seems to have stayed somewhere between {place} and here",
        "a stranger's parcel came to my door, and mine is heaven knows where",
        "the shelf that it is said to be on holds someone else's {goods}",
        "we have counted three times, and there is one crate too few",
        "your system calls it delivered; my doorstep, my neighbours and my dog know nothing of it",
        "it left {place}, and it never got anywhere, as far as I can learn",
        "the smaller of the two parcels did not come with the larger one, nor after it",
        "can somebody look behind the conveyor, for there must be a bag of mine there",
        "the {goods} have vanished from the list as if they had never been booked",
        "the customs officer released it, and from then on there is no trace",
        "where are the {goods}? they aren't with me, nor with the shop across the road",
    ),
    "price": (
        "I was quoted eighty marks and the invoice asks for one hundred and thirty",
        "what is the island surcharge doing on a bill for {place}, which has a bridge",
        "the same {goods} went for a third less in the spring",
        "I pay for twelve pieces, and I sent eleven, as your own receipt says",
        "could someone tell me how the line called handling is worked out",
        "storage was charged for days on which your own depot was closed",
        "I can't find a reason for the second amount that was taken from the account on {day}",
        "for that sum I could have carried the {goods} to {place} on my back and dined on the way",
        "the discount of our contract is missing from this month's sum",
        "we were billed for a crane although two of us lifted it with our hands",
        "your new tariff eats the whole margin of a small shop",
        "the weight on the bill is not the one that your scales printed",
        "an invoice for a shipment that I called off in time is not in order",
        "everything arrived well, but the total makes no sense to my bookkeeper",
        "please send the reckoning split by cost centre, I don't see what belongs to whom",
        "the fee for the escort appears twice, once in each currency",
    ),
    "change": (
        "please send it to the back entrance, the front is being painted",
        "can the {goods} come on {day} rather than at the weekend",
        "my sister will sign for it, I am travelling then",
        "we moved to {place} last month, so the old door leads nowhere now",
        "kindly keep the {goods} at your depot until I ring",
        "put a second name on the papers, the new owner wants it so",
        "leave out the third pallet and let the other two go ahead",
        "it would help us if the driver came before eight and not after",
        "let the parcel turn round, if it hasn't left {place} yet: the buyer has withdrawn",
        "use the narrow lorry, the wide one does not fit under our arch",
        "I typed the wrong house number, it is 14 and not 41",
        "add the reference of our order, or the people at the gate will not take it in",
        "make it one delivery instead of two, there is only one of me",
        "the contact for the {goods} is from now on the night porter",
        "hold everything that goes to {place} back until the strike is over",
        "would you put the {goods} under cover, since rain was forecast for {day}",
    ),
    "praise": (
        "the delay that I feared never came, and the {goods} were here by breakfast",
        "not a scratch on the glass, and that over four hundred miles",
        "whoever packed the {goods} deserves a medal",
        "the missing box turned out to be in my own cellar, and your clerk was kind about it",
        "the bill was lower than the quote, which I have never seen before",
        "the driver waited while I found my keys, and carried it upstairs unasked",
        "your people in {place} changed the address within a minute of my call",
        "nothing broke, nothing was wet and nothing was late: I had prepared a speech for nothing",
        "I lost a bet, for I had said that it couldn't be done before {day}",
        "the live map was a joy, my children followed the lorry all the way to {place}",
        "after what the other company charged, your price is a relief",
        "I shall send the rest of the {goods} with you as well",
        "the damaged corner was the carrier's before you, and you repaired it without a word",
        "for the tenth year the seedlings were set down in the shade, just as I like it",
        "a friendly voice at night, an answer at once, and everything where it should be",
        "the {goods} came so early that I had to ask the neighbours to make room",
    ),
}
_OPENINGS = (
    "", "", "", "Good morning: ", "Hello: ", "To whom it concerns: ", "Once more: ", "A short word: ", "Dear all: ",
    "As I told your colleague: ", "To be brief: ", "Here I am again: ", "My partner says I should write: ",
    "Concerning our last call: ", "In a hurry: ", "For the file: ", "Sirs: ", "With my second coffee: ", "Look: ",
)  # fmt: skip
_ENDINGS = (
    ".", ".", ".", ", as I see it.", ", in short.", ". Regards.", ". That is all.", ". Do write back.",
    ", and I have witnesses.", ". My number is in your file.", ", to say it plainly.", ". Please pass this on.",
    ", believe it or not.", ". Yours in haste.", ". It is about the usual account.", ". Thank you for reading.",
)  # fmt: skip
_GOODS = (
    "chairs", "seedlings", "bottles", "violins", "printing paper", "roof tiles", "window panes", "cheeses", "lamps",
    "costumes", "spare parts", "bicycles", "books", "kettles", "carpets", "ovens", "drums", "samples", "tents",
    "clocks",
)  # fmt: skip
_PLACES = (
    "Brackley Quay", "Harrow Gate", "Kelso Road", "Ludlow Yard", "Oakham Siding", "Penrith Dock", "Tenby Pier",
    "Wick Head",
)  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def remarks(dice: Dice, kind: str, count: int) -> list[str]:
    """`count` different remarks of a kind (some may be alike by chance), each one line of ASCII."""
    return [_remark(dice, kind) for _ in range(count)]


def meanings() -> str:
    """Describe the kinds, in a sentence for a question."""
    return "; ".join(f"{name} ({meaning})" for name, meaning in KINDS.items())


def _remark(dice: Dice, kind: str) -> str:
    core = dice.pick(_CORES[kind]).format(day=dice.pick(_DAYS), goods=dice.pick(_GOODS), place=dice.pick(_PLACES))
    opening = dice.pick(_OPENINGS)
    if not opening:
        core = core[0].upper() + core[1:]
    ending = "?" if core.startswith(("Where are", "where are")) else dice.pick(_ENDINGS)
    return opening + core + ending
