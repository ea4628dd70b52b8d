"""Everyday English words in French, Spanish and German, one translation each way. Written for rheostat.

Left out: words with several everyday translations, such as *river* (fleuve, rivière) or *silver* (argent, money).
"""

_LINES = """
dog chien perro Hund
cat chat gato Katze
horse cheval caballo Pferd
bird oiseau pájaro Vogel
fish poisson pez Fisch
cow vache vaca Kuh
house maison casa Haus
door porte puerta Tür
window fenêtre ventana Fenster
table table mesa Tisch
bed lit cama Bett
chair chaise silla Stuhl
book livre libro Buch
school école escuela Schule
friend ami amigo Freund
king roi rey König
queen reine reina Königin
church église iglesia Kirche
street rue calle Straße
bridge pont puente Brücke
car voiture coche Auto
train train tren Zug
key clé llave Schlüssel
water eau agua Wasser
bread pain pan Brot
milk lait leche Milch
wine vin vino Wein
cheese fromage queso Käse
meat viande carne Fleisch
apple pomme manzana Apfel
egg œuf huevo Ei
salt sel sal Salz
sugar sucre azúcar Zucker
tree arbre árbol Baum
flower fleur flor Blume
forest forêt bosque Wald
mountain montagne montaña Berg
sea mer mar Meer
island île isla Insel
sun soleil sol Sonne
moon lune luna Mond
star étoile estrella Stern
sky ciel cielo Himmel
rain pluie lluvia Regen
snow neige nieve Schnee
wind vent viento Wind
fire feu fuego Feuer
stone pierre piedra Stein
gold or oro Gold
man homme hombre Mann
woman femme mujer Frau
child enfant niño Kind
mother mère madre Mutter
father père padre Vater
brother frère hermano Bruder
sister sœur hermana Schwester
head tête cabeza Kopf
hand main mano Hand
eye œil ojo Auge
heart cœur corazón Herz
mouth bouche boca Mund
nose nez nariz Nase
blood sang sangre Blut
day jour día Tag
night nuit noche Nacht
week semaine semana Woche
month mois mes Monat
year année año Jahr
winter hiver invierno Winter
summer été verano Sommer
life vie vida Leben
death mort muerte Tod
love amour amor Liebe
war guerre guerra Krieg
peace paix paz Frieden
freedom liberté libertad Freiheit
truth vérité verdad Wahrheit
world monde mundo Welt
city ville ciudad Stadt
country pays país Land
word mot palabra Wort
number nombre número Zahl
red rouge rojo rot
green vert verde grün
blue bleu azul blau
black noir negro schwarz
white blanc blanco weiß
big grand grande groß
small petit pequeño klein
new nouveau nuevo neu
old vieux viejo alt
good bon bueno gut
bad mauvais malo schlecht
young jeune joven jung
rich riche rico reich
poor pauvre pobre arm
strong fort fuerte stark
long long largo lang
cold froid frío kalt
hot chaud caliente heiß
one un uno eins
two deux dos zwei
three trois tres drei
four quatre cuatro vier
five cinq cinco fünf
seven sept siete sieben
eight huit ocho acht
ten dix diez zehn
"""
LANGUAGES = ("French", "Spanish", "German")
DICTIONARY: dict[str, dict[str, str]] = {
    language: {line.split()[0]: line.split()[place] for line in _LINES.split("\n") if line}
    for place, language in enumerate(LANGUAGES, 1)
}
"""Language → English word → its word; German nouns are capitalised."""
